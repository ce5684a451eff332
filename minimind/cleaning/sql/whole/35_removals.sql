-- one row is a removed document with the step and the reason, and the kept document that stands in for it
-- A copy of a document that overlaps with what the model is measured on overlaps with it too, and goes for that reason.
with overlapping as (
    select number, document_id as kept_document_id, 9 as place, 'decontamination' as step, reason
    from contaminated
    join catalogue using (number)
)
select number, place, step, reason, unfit_documents.kept_document_id
from unfit_documents
anti join overlapping using (kept_document_id)
union all
select unfit_documents.number, overlapping.place, overlapping.step, overlapping.reason, null
from unfit_documents
join overlapping using (kept_document_id)
union all
select number, place, step, reason, null
from overlapping
