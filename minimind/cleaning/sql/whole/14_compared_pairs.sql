-- one row is a pair of documents with its exact Jaccard similarity; every round adds the pairs that were chosen
-- A pair of texts that an earlier cleaning compared is known, and its texts are not read again. Joining on shingles is
-- several times faster than list_intersect, and spills.
with unknown_pairs as (
    select i, j from chosen_pairs anti join known_similarities using (i, j)
),
probes as (
    select i, j, unnest(shingles) as shingle
    from unknown_pairs
    join shingle_sets on shingle_sets.number = i
),
wanted as (
    select number as j, unnest(shingles) as shingle
    from shingle_sets
    where number in (select j from unknown_pairs)
),
common as (
    select i, j, count(*) as shared
    from probes
    join wanted using (j, shingle)
    group by i, j
),
counted as (
    select i, j, coalesce(shared, 0) as shared, len(a.shingles) + len(b.shingles) as total
    from unknown_pairs
    join shingle_sets as a on a.number = i
    join shingle_sets as b on b.number = j
    left join common using (i, j)
)
select i, j, jaccard
from compared_pairs
union all
select i, j, known_similarities.jaccard
from chosen_pairs
join known_similarities using (i, j)
union all
select i, j, shared / (total - shared)
from counted
