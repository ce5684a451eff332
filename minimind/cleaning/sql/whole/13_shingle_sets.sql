-- one row is a document of a chosen pair that was never compared before, with its different shingles as sorted hashes
with unknown_pairs as (
    select i, j from chosen_pairs anti join known_similarities using (i, j)
),
wanted as (
    select number, text_key
    from sound_documents
    where number in (select i from unknown_pairs union select j from unknown_pairs)
)
select number, run_set_of(text, $shingle_words, $all_words) as shingles
from texts
join wanted using (text_key)
