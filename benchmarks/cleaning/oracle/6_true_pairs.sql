-- one row is a pair of documents with J >= t; of documents too short for one shingle, a pair with the same text
with counted as (
    select candidates.i, candidates.j, count(*) as shared
    from candidates
    join shingles as a on a.number = candidates.i
    join shingles as b on b.number = candidates.j and b.shingle = a.shingle
    group by candidates.i, candidates.j
),
united as (
    select i, j, shared, a.shingles + b.shingles - shared as total
    from counted
    join comparable as a on a.number = i
    join comparable as b on b.number = j
),
short as (
    select number, text from documents where number not in (select number from shingles)
),
pairs as (
    select i, j, shared / total as jaccard from united where 100 * shared >= $min_percent * total
    union all
    select a.number, b.number, 1
    from short as a
    join short as b using (text)
    where a.number < b.number
)
select first_document.id as a, second_document.id as b, jaccard
from pairs
join documents as first_document on first_document.number = i
join documents as second_document on second_document.number = j
order by a, b
