-- one row is a document that is removed because a kept document, picked before it, is too similar
-- In order of number: a document is kept unless an earlier kept one has J >= $max_jaccard with it. Each round
-- decides the documents whose fate is settled by those decided before; a removed document removes nothing.
with recursive edges as (
    select i, j from compared_pairs where jaccard >= $max_jaccard
),
decisions(number, kept) using key (number) as (
    select distinct i, true from edges where i not in (select j from edges)
    union
    select edges.j, not coalesce(bool_or(earlier.kept), false)
    from edges
    left join recurring.decisions as earlier on earlier.number = edges.i
    where edges.j not in (select number from recurring.decisions)
    group by edges.j
    having coalesce(bool_or(earlier.kept), false) or bool_and(earlier.number is not null)
)
select edges.j as number, min(edges.i) as kept_number
from edges
join decisions as removed on removed.number = edges.j and not removed.kept
join decisions as survivor on survivor.number = edges.i and survivor.kept
group by edges.j
