-- one row is a likely pair that is to be compared now
-- A document is compared with the $partners picked first and the $partners most similar ones before it. In large
-- families that leaves pairs over: they are chosen in the next round, unless one of the two has been removed by then.
-- A document of a crowd begins with $crowd_partners of each, since most of a crowd goes with its first member.
with open_pairs as (
    select i, j, estimate
    from likely_pairs
    anti join compared_pairs using (i, j)
),
ranked as (
    select
        i,
        j,
        row_number() over (partition by j order by i) as place,
        row_number() over (partition by j order by estimate desc, i) as similarity,
        case when count(*) over (partition by j) > $crowd then $crowd_partners else $partners end as most
    from open_pairs
)
select i, j
from ranked
where place <= most or similarity <= most
