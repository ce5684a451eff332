-- one row is a training document of whose 13-grams more than $max_overlap stand in the holdout or an evaluation file
-- N-grams that stand in $common_gram_documents documents or more, such as a statute's formulas, count on neither side.
with common as (
    select gram
    from shared_grams
    left join long_text_grams using (gram)
    group by gram
    having count(*) + max(holdout_documents) + coalesce(max(documents), 0) >= $common_gram_documents
),
counted as (
    select
        number,
        count(*) filter (where common.gram is not null) as common_grams,
        count(*) filter (where common.gram is null) as overlapping,
        count(*) filter (where common.gram is null and holdout_documents > 0) as overlapping_holdout
    from shared_grams
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
