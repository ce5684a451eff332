-- one row is a kept document of one split without its text, in order of document_id
select
    number,
    document_id,
    corpus.source,
    title,
    corpus.license,
    noted(
        noted(noted(metadata, 'version_of', version_of), 'language', language), 'personal_data', flagged
    ) as metadata
from splits
join catalogue using (number, document_id)
join corpus using (document_id)
left join versions using (number)
left join languages using (text_key)
left join personal_data_notes using (number)
where split = $split and number not in (select number from removals)
order by document_id
