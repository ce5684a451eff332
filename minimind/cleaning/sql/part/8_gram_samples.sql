-- one row is a text with hashes of its different 13-grams: all of a short text, of a long one those in the lowest
-- eighth of all hashes, so that such a hash is looked at in every text that has it
with sampled as (
    select text_key, run_set_of(text, 13, $long_text_words) as grams
    from texts
)
select text_key, grams
from sampled
where len(grams) > 0
