-- one row is a kind of personal data that was looked for: what is done about it, its hits in kept documents, and those
with kinds as (
    select unnest($found_kinds::varchar[]) as kind
),
hits as (
    select kind, number
    from personal_data_hits
    where number not in (select number from removals)
)
select
    kind,
    case when list_contains($replaced_kinds::varchar[], kind) then 'replace' else 'flag' end as action,
    count(number) as hits,
    count(distinct number) as documents
from kinds
left join hits using (kind)
group by kind
order by kind
