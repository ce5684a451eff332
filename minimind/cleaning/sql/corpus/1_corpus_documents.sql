-- one row is a document of the corpus without its text; text_key is the md5 of the raw text
select
    document_id,
    source,
    license,
    metadata['date'] as date,
    md5(text) as text_key,
    strlen(text)::bigint as raw_bytes
from corpus
