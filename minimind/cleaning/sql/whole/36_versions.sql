-- one row is a kept document that resembles a kept one picked before it, though too little to be removed
-- Of several the most similar, then the one picked first.
select
    j as number,
    arg_min(catalogue.document_id, struct_pack(distance := -jaccard, i := i)) as version_of
from verified_pairs
join catalogue on catalogue.number = i
where
    jaccard < $max_jaccard
    and i not in (select number from removals)
    and j not in (select number from removals)
group by j
