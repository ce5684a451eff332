-- one row is a kept document of the holdout, in order of document_id
select document_id, text, source, title, license, metadata
from documents
join splits using (document_id)
where split = 'holdout' and number not in (select number from removals)
order by document_id
