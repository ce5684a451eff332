-- one row is a pair of near-duplicates: its exact Jaccard similarity is at least $min_pair_jaccard
select i, j, jaccard
from compared_pairs
where jaccard >= $min_pair_jaccard
