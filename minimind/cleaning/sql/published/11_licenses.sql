-- one row is a licence with the documents read and kept under it, the commonest first; null where none is known
-- Beyond the fiftieth they are one row: texts that bear a licence of their own each would make thousands.
with counted as (
    select
        license,
        count(*) as documents_in,
        count(*) filter (where removals.number is null) as documents_kept,
        coalesce(sum(left_documents.bytes) filter (where removals.number is null), 0)::bigint as bytes_kept
    from catalogue
    left join removals using (number)
    left join left_documents using (number)
    group by license
),
ranked as (
    select *, row_number() over (order by documents_in desc, license nulls last) as place from counted
)
select
    case when place <= 50 then license end as license,
    count(*) as licenses,
    sum(documents_in)::bigint as documents_in,
    sum(documents_kept)::bigint as documents_kept,
    sum(bytes_kept)::bigint as bytes_kept
from ranked
group by least(place, 51), case when place <= 50 then license end
order by min(place)
