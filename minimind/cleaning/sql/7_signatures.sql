-- one row is a bin of a sound document's MinHash signature with the lowest shingle hash in it
-- One-permutation hashing (Li, Owen and Zhang 2012): every shingle falls into one of $bins bins, so that each is
-- hashed once, not $bins times. An empty bin is an absent row.
with shingles as (
    select sound_documents.number, unnest(shingles_of(documents.text, $shingle_words)) as shingle
    from documents
    join sound_documents using (document_id)
)
select number, (shingle % $bins)::usmallint as bin, min(shingle) as low
from shingles
group by all
