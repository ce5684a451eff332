-- one row is a pair of documents that share a group, the one picked first as i
-- All pairs of a group, or, in a crowd, a star around its first member: all pairs of 20,000 copies are 200 million.
with first_members as (
    select *, min(number) over (partition by bins, band, band_key) as first_number
    from bands
),
small_groups as (
    select band, band_key, bins, list(number) as numbers
    from bands
    where members <= $crowd
    group by all
),
paired as (
    select unnest(numbers) as j, numbers from small_groups
),
pairs as (
    select unnest(numbers) as i, j from paired
    union all
    select first_number as i, number as j from first_members where members > $crowd
)
select distinct i, j
from pairs
where i < j
