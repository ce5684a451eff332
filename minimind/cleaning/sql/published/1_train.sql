-- one row is a kept document of the train split, in order of document_id
select document_id, texts.text, corpus.source, title, corpus.license, noted(metadata, version_of, language) as metadata
from splits
join catalogue using (number, document_id)
join corpus using (document_id)
join texts using (text_key)
left join versions using (number)
left join languages using (text_key)
where split = 'train' and number not in (select number from removals)
order by document_id
