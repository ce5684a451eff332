-- one row is a document with its near-duplicate cluster, named by the cluster's first number
-- Connected components over all verified pairs and all exact copies, removed documents included: a document that is
-- removed today is assigned with those it resembles, and may come back when they leave the corpus.
-- Each round takes the lowest label among neighbours, for the document and for the one that labels it, and then the
-- label's own label: the rounds grow with the logarithm of the longest chain (Zhang, Azad and Hu 2020, FastSV).
with recursive nodes as (
    select number from sound_documents
    union all
    select number from exact_duplicates where kept_number in (select number from sound_documents)
),
links as (
    select i, j from verified_pairs
    union all
    select kept_number, number from exact_duplicates where kept_number in (select number from sound_documents)
),
neighbours as (
    select i as number, j as neighbour from links
    union all
    select j, i from links
    union all
    select number, number from nodes
),
rounds(round, number, label) as (
    select 0, number, number from nodes
    union all (
        with labels as materialized (
            select * from rounds
        ),
        proposals as (
            select neighbours.number, labels.label
            from neighbours
            join labels on labels.number = neighbours.neighbour
            union all
            select own.label, labels.label
            from neighbours
            join labels as own on own.number = neighbours.number
            join labels on labels.number = neighbours.neighbour
        ),
        lowest as (
            select number, min(label) as label from proposals group by number
        ),
        jumped as (
            select lowest.number, target.label from lowest join lowest as target on target.number = lowest.label
        )
        select (select max(round) from labels) + 1, number, label
        from jumped
        where exists (
            select 1 from jumped as after join labels as before using (number) where after.label <> before.label
        )
    )
)
select number, label as cluster
from rounds
where round = (select max(round) from rounds)
