-- one row is the text of a document left so far with placeholders instead of personal data, repeated lines cut before
-- Lines are looked at in which any hit starts, of a kind that is left too: it may have overlapped with one that is not.
-- A table, and no part of the published queries: there DuckDB calls the function for every document.
with affected as (
    select number, list(start_char) as starts
    from personal_data_hits
    group by number
    having bool_or(list_contains($replaced_kinds::varchar[], kind))
),
uncut as (
    select number, coalesce(cut_texts.text, texts.text) as text, starts
    from affected
    join catalogue using (number)
    join texts using (text_key)
    left join cut_texts using (number)
),
masked as (
    select
        number,
        strlen(text)::bigint as bytes_before,
        mask_personal_data(text, $phone_region, $replaced_kinds, starts) as text
    from uncut
)
select number, text, bytes_before - strlen(text)::bigint as bytes_saved
from masked
