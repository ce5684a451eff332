-- one row is a text with the hashes of its words
select text_key, word_hashes_of(text) as hashes
from texts
