-- one row is a removed document without its text, with step and reason, in order of document_id
select
    number,
    document_id,
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
left join languages using (text_key)
order by document_id
