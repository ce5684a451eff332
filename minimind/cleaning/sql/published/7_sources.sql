-- one row is a source with what is kept of it
select
    catalogue.source,
    count(*) filter (where split = 'train' and removals.number is null) as train_documents,
    count(*) filter (where split = 'holdout' and removals.number is null) as holdout_documents,
    coalesce(
        sum(bytes - coalesce(bytes_saved, 0) - coalesce(bytes_cut, 0)) filter (where removals.number is null), 0
    )::bigint as bytes
from catalogue
left join splits using (number)
left join removals using (number)
left join cut_texts using (number)
left join personal_data_notes using (number)
group by catalogue.source
order by catalogue.source
