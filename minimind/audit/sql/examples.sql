-- one row is a removed document drawn as an example of its reason: $examples of each, the same ones for the same seed
with drawn as (
    select
        document_id,
        row_number() over (partition by step, reason order by md5($seed || document_id), document_id) as place
    from removed
    qualify place <= $examples
)
select document_id, source, step, reason, kept_document_id, length(text) as chars, text[:$excerpt_chars] as excerpt
from removed
join drawn using (document_id)
order by step, reason, place
