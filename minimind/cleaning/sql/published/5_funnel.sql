-- one row is what one reason took away, in the order of the steps; the first is what normalisation shortened, the last
-- are the lines that stand in many documents and what placeholders for personal data did
with rows as (
    select 0 as place, 'normalize' as step, 'blanks_and_control_characters' as reason, 0 as documents,
        coalesce(sum(raw_bytes - bytes), 0)::bigint as bytes
    from catalogue
    union all
    select place, step, reason, count(*), sum(bytes)::bigint
    from removals
    join catalogue using (number)
    group by place, step, reason
    union all
    select 99, 'repeated_lines', 'cut', 0, sum(bytes_cut)::bigint
    from cut_texts
    where number not in (select number from removals)
    having count(*) > 0
    union all
    select 100, 'personal_data', 'replaced', 0, sum(bytes_saved)::bigint
    from masked_texts
    where number not in (select number from removals)
    having count(*) > 0
)
select step, reason, documents, bytes
from rows
order by place, documents desc, reason
