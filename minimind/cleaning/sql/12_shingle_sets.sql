-- one row is a document of a chosen pair with its different shingles
select sound_documents.number, list_distinct(shingles_of(documents.text, $shingle_words)) as shingles
from documents
join sound_documents using (document_id)
where sound_documents.number in (select i from chosen_pairs union select j from chosen_pairs)
