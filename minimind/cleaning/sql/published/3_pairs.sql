-- one row is a verified pair of near-duplicates, the smaller document_id first
select
    least(a.document_id, b.document_id) as document_id_a,
    greatest(a.document_id, b.document_id) as document_id_b,
    jaccard
from verified_pairs
join catalogue as a on a.number = i
join catalogue as b on b.number = j
order by document_id_a, document_id_b
