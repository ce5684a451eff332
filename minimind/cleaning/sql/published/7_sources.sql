-- one row is a source with what is kept of it
select
    catalogue.source,
    count(*) filter (where split = 'train' and removals.number is null) as train_documents,
    count(*) filter (where split = 'holdout' and removals.number is null) as holdout_documents,
    coalesce(sum(left_documents.bytes) filter (where removals.number is null), 0)::bigint as bytes
from catalogue
left join splits using (number)
left join removals using (number)
left join left_documents using (number)
group by catalogue.source
order by catalogue.source
