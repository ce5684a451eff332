-- one row is a pair of sound documents whose texts an earlier cleaning compared, the one picked first as i
select least(a.number, b.number) as i, greatest(a.number, b.number) as j, jaccard
from known_pairs
join sound_documents as a on a.text_key = key_a
join sound_documents as b on b.text_key = key_b
