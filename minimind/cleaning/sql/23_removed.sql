-- one row is a removed document with step and reason, in order of document_id
select document_id, text, documents.source, title, license, metadata, step, reason, kept_document_id
from documents
join catalogue using (document_id)
join removals using (number)
order by document_id
