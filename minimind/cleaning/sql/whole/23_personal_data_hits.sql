-- one row is a hit of personal data in a document left so far, repeated lines cut before
-- Of a text that is cut the hits are found anew, since the table of hits does not say in which line each stands.
with cut_hits as (
    select number, unnest(find_personal_data(cut_texts.text, $phone_region, $found_kinds)) as hit
    from cut_texts
    join catalogue using (number)
    where text_key in (select text_key from personal_data)
)
select number, kind, start_char
from personal_data
join catalogue using (text_key)
where number not in (select number from unfit_documents) and number not in (select number from cut_texts)
union all
select number, hit.kind, hit.start_char
from cut_hits
