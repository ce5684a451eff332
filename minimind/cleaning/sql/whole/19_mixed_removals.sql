-- one row is a document that a mixed cluster loses, with step and reason, and the one that stays for it
-- Survivors are picked anew among the members held out: one that was picked before them may have to go itself.
with held_out as (
    select number, text_md5, min(number) over (partition by text_md5) as first_number
    from mixed_documents
    join catalogue using (number)
    where held_out
),
too_similar as materialized (
    select least(a.first_number, b.first_number) as i, greatest(a.first_number, b.first_number) as j
    from verified_pairs
    join catalogue as first on first.number = i
    join catalogue as second on second.number = j
    join held_out as a on a.text_md5 = first.text_md5 and a.number = a.first_number
    join held_out as b on b.text_md5 = second.text_md5 and b.number = b.first_number
    where jaccard >= $max_jaccard
),
too_similar_to_one as (
    select number, kept_number from displaced('too_similar')
)
select
    held_out.number,
    2 as place,
    'exact_duplicates' as step,
    'exact_duplicate' as reason,
    coalesce(too_similar_to_one.kept_number, first_number) as kept_number
from held_out
left join too_similar_to_one on too_similar_to_one.number = first_number
where held_out.number <> first_number
union all
select number, 5, 'near_duplicates', 'near_duplicate', kept_number from too_similar_to_one
union all
select number, 8, 'split', 'like_train_and_holdout', null from mixed_documents where not held_out
