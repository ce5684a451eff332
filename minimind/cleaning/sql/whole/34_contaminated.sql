-- one row is a training document of whose 13-grams more than $max_overlap stand in the holdout or an evaluation file
-- N-grams that stand in $common_gram_documents documents or more, such as a statute's formulas, count on neither side.
with shared as (
    select splits.number, reference_grams.*
    from (
        select number, unnest(grams) as gram
        from splits
        join catalogue using (number)
        join gram_samples using (text_key)
        where split = 'train' and number not in (select number from unfit_documents)
    ) as splits
    join reference_grams using (gram)
),
common as (
    select gram
    from shared
    group by gram
    having count(*) + max(holdout_documents) >= $common_gram_documents
),
counted as (
    select
        number,
        count(*) filter (where common.gram is not null) as common_grams,
        count(*) filter (where common.gram is null) as overlapping,
        count(*) filter (where common.gram is null and holdout_documents > 0) as overlapping_holdout
    from shared
    left join common using (gram)
    group by number
)
select
    number,
    overlapping / (len(grams) - common_grams) as overlap,
    case when 2 * overlapping_holdout >= overlapping then 'overlap_with_holdout' else 'overlap_with_evaluation' end
        as reason
from counted
join catalogue using (number)
join gram_samples using (text_key)
where overlapping > $max_overlap * (len(grams) - common_grams)
