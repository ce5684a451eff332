-- one row is a kept document's text with placeholders instead of personal data, repeated lines cut before
-- A table, and no part of the published queries: there DuckDB calls the function for every document.
with affected as (
    select number, text_key
    from personal_data_notes
    join catalogue using (number)
    where bytes_saved is not null and number not in (select number from removals)
),
uncut as (
    select number, coalesce(cut_texts.text, texts.text) as text
    from affected
    join texts using (text_key)
    left join cut_texts using (number)
)
select number, mask_personal_data(text, $phone_region, $replaced_kinds) as text
from uncut
