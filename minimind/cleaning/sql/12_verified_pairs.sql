-- one row is a pair of sound documents with an exact Jaccard similarity of at least $min_pair_jaccard
with counted as (
    select
        i,
        j,
        len(list_intersect(a.shingles, b.shingles)) as shared,
        len(a.shingles) + len(b.shingles) as total
    from likely_pairs
    join shingle_sets as a on a.number = likely_pairs.i
    join shingle_sets as b on b.number = likely_pairs.j
    where least(len(a.shingles), len(b.shingles)) >= $min_pair_jaccard * greatest(len(a.shingles), len(b.shingles))
)
select i, j, shared / (total - shared) as jaccard
from counted
where shared / (total - shared) >= $min_pair_jaccard
