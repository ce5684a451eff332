-- one row is a pair of documents with its exact Jaccard similarity; every round adds the pairs that were chosen
-- A pair of texts that an earlier cleaning compared is known, and its texts are not read again.
with counted as (
    select
        i,
        j,
        len(list_intersect(a.shingles, b.shingles)) as shared,
        len(a.shingles) + len(b.shingles) as total
    from chosen_pairs
    anti join known_similarities using (i, j)
    join shingle_sets as a on a.number = chosen_pairs.i
    join shingle_sets as b on b.number = chosen_pairs.j
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
