-- one row is a text that is not empty and the language it is in, as far as that can be told; none where nobody asks
-- The beginning, the middle and the end are looked at, 300 characters each.
with samples as (
    select
        text_key,
        case
            when chars <= 900 then text
            else text[:300] || ' ' || text[chars // 2 - 149:chars // 2 + 150] || ' ' || text[-300:]
        end as sample
    from texts
    where chars > 0 and $identify_languages
),
found as (
    select text_key, language_of(sample) as found
    from samples
)
select text_key, found.language as language, found.probability as probability
from found
