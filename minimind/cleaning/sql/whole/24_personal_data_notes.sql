-- one row is a document with flagged personal data and what its metadata says of it: `ip 2, phone 1`
-- Kinds in alphabetical order with their hits.
with counted as (
    select number, kind, count(*) as hits
    from personal_data_hits
    where not list_contains($replaced_kinds::varchar[], kind)
    group by number, kind
)
select number, string_agg(kind || ' ' || hits, ', ' order by kind) as flagged
from counted
group by number
