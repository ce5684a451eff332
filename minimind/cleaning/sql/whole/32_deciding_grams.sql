-- one row is a 13-gram that decides about a document and that the samples of long texts leave out
-- Decided is about documents of whose 13-grams more than $max_overlap are shared: N-grams that do not count only lower
-- the share of the rest.
with suspects as (
    select number
    from (select number, count(*) as shared from shared_grams group by number)
    join catalogue using (number)
    join gram_samples using (text_key)
    where shared > $max_overlap * len(grams)
)
select distinct gram
from shared_grams
semi join suspects using (number)
where gram >= $sampled_below
