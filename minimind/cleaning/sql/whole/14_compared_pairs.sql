-- one row is a pair of documents with its exact Jaccard similarity; every round adds the pairs that were chosen
-- A pair of texts that an earlier cleaning compared is known, and its texts are not read again.
select i, j, jaccard
from compared_pairs
union all
select i, j, known_similarities.jaccard
from chosen_pairs
join known_similarities using (i, j)
union all
select i, j, shared / (total - shared)
from shared_shingles
