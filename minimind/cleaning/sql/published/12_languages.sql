-- one row is a language with its documents, the most frequent first; none where languages are not looked at
select
    language,
    count(*) as documents,
    count(*) filter (where removals.number is null) as documents_kept,
    coalesce(sum(left_documents.bytes) filter (where removals.number is null), 0)::bigint as bytes_kept
from catalogue
join languages using (text_key)
left join removals using (number)
left join left_documents using (number)
group by language
order by count(*) desc, language
