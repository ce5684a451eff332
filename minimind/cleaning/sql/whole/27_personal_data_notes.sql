-- one row is a document with personal data: what its metadata says of the flagged, and bytes that placeholders save
-- `ip 2, phone 1`: kinds in alphabetical order with their hits. bytes_saved is null where nothing is replaced.
with counted as (
    select
        number,
        kind,
        list_contains($replaced_kinds::varchar[], kind) as replaced,
        count(*) as hits,
        sum(personal_data.bytes - strlen('<' || kind || '>'))::bigint as bytes_saved
    from personal_data
    join catalogue using (text_key)
    group by number, kind
)
select
    number,
    string_agg(kind || ' ' || hits, ', ' order by kind) filter (where not replaced) as flagged,
    sum(bytes_saved) filter (where replaced)::bigint as bytes_saved
from counted
group by number
