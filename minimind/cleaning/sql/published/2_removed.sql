-- one row is a removed document with step and reason, in order of document_id
select
    document_id,
    texts.text,
    corpus.source,
    title,
    corpus.license,
    noted(metadata, 'language', language) as metadata,
    step,
    reason,
    kept_document_id
from removals
join catalogue using (number)
join corpus using (document_id)
join texts using (text_key)
left join languages using (text_key)
order by document_id
