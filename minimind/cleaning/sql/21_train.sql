-- one row is a kept document of the train split, in order of document_id
select document_id, text, source, title, license, metadata
from documents
join splits using (document_id)
where split = 'train' and number not in (select number from removals)
order by document_id
