-- one row is a document that may have a near-duplicate: enough of its shingles stand in other documents too
-- A pair with J >= t shares at least t times the shingles of either.
with shared as (
    select shingle from shingles group by shingle having count(*) > 1
),
sizes as (
    select number, count(*) as shingles from shingles group by number
),
shared_sizes as (
    select number, count(*) as shared from shingles semi join shared using (shingle) group by number
)
select number, shingles
from sizes
join shared_sizes using (number)
where 100 * shared >= $min_percent * shingles
