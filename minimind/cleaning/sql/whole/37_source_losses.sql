-- one row is a source with the documents that it had and those that were removed
select
    source,
    count(*) as documents,
    count(removals.number) as removed
from catalogue
left join removals using (number)
group by source
order by source
