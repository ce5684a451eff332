-- one row is a deciding 13-gram that long training documents have, and how many do
-- A text of so many words has at least so many bytes. What long_text_runs lets pass is little more than is asked for.
with found as (
    select number, unnest(long_text_runs(text, 13, $long_text_words)) as gram
    from splits
    join catalogue using (number)
    join texts using (text_key)
    where
        split = 'train'
        and number not in (select number from unfit_documents)
        and texts.bytes >= 2 * $long_text_words - 1
)
select gram, count(distinct number) as documents
from found
semi join deciding_grams using (gram)
group by gram
