-- one row is a document that is neither empty, nor an exact copy, nor of too low quality or another language
-- Quality comes before near-duplicates: were it the other way round, a document of low quality could be picked as
-- the survivor of its copies and then be removed itself, and the good copies would be lost with it. It also costs
-- less than comparing what is thrown away. Exact copies come before quality, because they share every signal.
select number, document_id, text_key, bytes
from catalogue
where
    chars > 0
    and number not in (select number from exact_duplicates)
    and number not in (select number from quality_failures)
