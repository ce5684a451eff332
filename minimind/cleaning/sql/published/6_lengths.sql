-- one row is a range of text lengths in characters, each twice as wide as the one before, with its documents
with ranges as (
    select
        case when chars = 0 then 0 else 1::bigint << floor(log2(chars))::integer end as min_chars,
        number in (select number from removals) as removed
    from catalogue
)
select
    min_chars,
    greatest(2 * min_chars - 1, 0) as max_chars,
    count(*) as documents_in,
    count(*) filter (where not removed) as documents_kept
from ranges
group by min_chars
order by min_chars
