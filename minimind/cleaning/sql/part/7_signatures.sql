-- one row is a text with its MinHash signature: the bins that it fills, and the lowest shingle hash in each
-- One-permutation hashing (Li, Owen and Zhang 2012): every shingle falls into one of $bins bins, so that each is
-- hashed once, not $bins times. An empty bin is absent, and so is a text without shingles. $bins is a power of two.
with signed as (
    select text_key, signature_of(text, $shingle_words, $bins) as signature
    from texts
)
select text_key, signature.bins as bins, signature.lows as lows
from signed
where len(signature.bins) > 0
