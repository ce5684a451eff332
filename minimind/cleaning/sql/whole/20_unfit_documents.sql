-- one row is a document removed before the split, with step and reason, and the kept document that stands in for it
-- For an exact copy that is the survivor of the text it copies, which may be a near-duplicate's; none where that
-- text is of too low quality or of another language.
with reasons as (
    select number, 1 as place, 'empty' as step, 'empty' as reason, null::uinteger as kept_number
    from catalogue
    where chars = 0
    union all
    select
        exact_duplicates.number,
        2,
        'exact_duplicates',
        'exact_duplicate',
        case when quality_failures.number is null
            then coalesce(near_duplicates.kept_number, exact_duplicates.kept_number) end
    from exact_duplicates
    left join quality_failures on quality_failures.number = exact_duplicates.kept_number
    left join near_duplicates on near_duplicates.number = exact_duplicates.kept_number
    where exact_duplicates.number not in (select number from mixed_documents)
    union all
    select number, place, step, reason, null from quality_failures
    union all
    select number, 5, 'near_duplicates', 'near_duplicate', kept_number
    from near_duplicates
    where number not in (select number from mixed_documents)
    union all
    select number, place, step, reason, kept_number from mixed_removals
)
select reasons.number, place, step, reason, kept.document_id as kept_document_id
from reasons
left join catalogue as kept on kept.number = reasons.kept_number
