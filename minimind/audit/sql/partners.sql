-- one row is a document of the same cluster as $document_id, the most similar first; partners says how many there are
-- Links are the pairs that were compared and found similar, and exact copies with what was kept instead.
with recursive exact_copies as (
    select document_id, kept_document_id from fates where reason = 'exact_duplicate' and kept_document_id is not null
),
links as (
    select document_id_a as one, document_id_b as other, jaccard from pairs
    union all
    select document_id_b, document_id_a, jaccard from pairs
    union all
    select document_id, kept_document_id, null from exact_copies
    union all
    select kept_document_id, document_id, null from exact_copies
),
reached as (
    select $document_id as document_id
    union
    select links.other from reached join links on links.one = reached.document_id
)
select
    fates.document_id,
    split,
    step,
    reason,
    direct.jaccard,
    direct.one is not null as is_direct,
    count(*) over () as partners
from reached
join fates using (document_id)
left join links as direct on direct.one = $document_id and direct.other = reached.document_id
where reached.document_id <> $document_id
qualify row_number() over (partition by fates.document_id order by direct.jaccard desc nulls last) = 1
order by is_direct desc, direct.jaccard desc nulls last, fates.document_id
limit $limit
