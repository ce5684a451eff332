-- one row is a document that is removed because a kept document, picked before it, is too similar
with too_similar as materialized (
    select i, j from compared_pairs where jaccard >= $max_jaccard
)
select number, kept_number
from displaced('too_similar')
